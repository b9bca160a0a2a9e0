// What the stock editor cannot do with the pack's nodes: fold advanced inputs where nodes are drawn on the canvas, and
// say while somebody types how long a speech lasts and whether a voice is any good.

import { app } from "../../scripts/app.js"
import { api } from "../../scripts/api.js"

const PREFIX = "UniTalking"
const PAUSE_MS = 400 // after the last key
const ROW_GAP = 4 // what the canvas adds to every row
const PLAYED = new Audio()

app.registerExtension({
    name: "unitalking.editor",
    nodeCreated(node) {
        if (node.comfyClass?.startsWith(PREFIX)) fold(node)
        LIVE[node.comfyClass]?.(node)
    },
})

const LIVE = {
    UniTalkingTextPrompt: (node) => live(node, "speech", () => lengthText(node)),
    UniTalkingLoadVoice: (node) => voiceNode(node, "voice_file", () => ({ file: value(node, "voice_file") })),
    UniTalkingEncodeVoiceReference: (node) => voiceNode(node, "sample_voice", () => source(node)),
    LoadAudio: (node) => onChange(node, "audio", () => targets(node).forEach((each) => SHOWN.get(each)?.())),
}
const SHOWN = new WeakMap() // node -> what brings its text up to date

// A node whose widget names a voice: judged when another is chosen or wired, and heard by a button.
function voiceNode(node, widget, asked) {
    live(node, widget, () => voiceText(asked()))
    const button = node.addWidget("button", "play", null, () => play(node, asked()), { serialize: false })
    button.serialize = false
}

// Says on the node what `text` gives: at first, and when the widget or a wire changes. A late answer to what was asked
// before is not shown.
function live(node, widget, text) {
    let waiting
    const show = () => {
        clearTimeout(waiting)
        const asked = (waiting = setTimeout(async () => {
            const words = isShown(node) && (await text())
            if (words && asked === waiting) say(node, words)
        }, PAUSE_MS))
    }
    SHOWN.set(node, show)
    onChange(node, widget, show)
    const before = node.onConnectionsChange
    node.onConnectionsChange = function (...given) {
        show()
        return before?.apply(this, given)
    }
    show() // of a graph that is opened, all is there by then
}

// Folded inputs leave their room to the others, and come back by "Show Advanced" in the node's menu; Nodes 2.0 has a
// button of its own for them.
function fold(node) {
    for (const widget of node.widgets?.filter((each) => each.options?.advanced) ?? []) {
        widget.advanced = true
        const room = widget.computeLayoutSize // of a text field; other widgets have one row
        if (room)
            widget.computeLayoutSize = (...given) =>
                node.showAdvanced ? room.apply(widget, given) : { minHeight: 0, maxHeight: 0, minWidth: 0 }
        else widget.computeSize = () => [0, node.showAdvanced ? LiteGraph.NODE_WIDGET_HEIGHT : -ROW_GAP]
    }
    node.setSize(node.computeSize())
}

function widgetOf(node, name) {
    return node.widgets.find((widget) => widget.name === name)
}

function value(node, name) {
    return widgetOf(node, name).value
}

// Inside of a subgraph a node's number is that of another node outside.
function isShown(node) {
    return node.graph != null && node.graph === node.graph.rootGraph
}

// A run says the same and more, on the same place of the node.
function say(node, text) {
    if (isShown(node)) api.dispatchCustomEvent("progress_text", { nodeId: String(node.id), text })
}

function onChange(node, name, react) {
    const widget = widgetOf(node, name)
    const before = widget.callback
    widget.callback = function (...given) {
        react()
        return before?.apply(this, given)
    }
}

async function lengthText(node) {
    const wired = node.inputs?.some((input) => input.widget?.name === "speech" && input.link != null)
    if (wired) return null
    const answer = await api.fetchApi("/unitalking/speech", { method: "POST", body: value(node, "speech") })
    const { seconds, error } = await answer.json()
    return error ?? (seconds ? `about ${seconds.toFixed(1)} s` : "nothing to say")
}

async function voiceText(asked) {
    if (!asked) return "a report before a run needs a sample voice, or Load Audio wired to audio"
    const answer = await api.fetchApi(`/unitalking/voice?${new URLSearchParams(asked)}`)
    const { report, error } = await answer.json()
    return report ?? error
}

// Where the voice of Encode Voice Reference comes from, or null where only a run can tell.
function source(node) {
    const link = node.inputs.find((input) => input.name === "audio").link
    if (link == null) {
        const sample = value(node, "sample_voice")
        return sample === "none" ? null : { sample }
    }
    const origin = node.graph.getNodeById(node.graph.links.get(link).origin_id)
    return origin?.comfyClass === "LoadAudio" ? { recording: value(origin, "audio") } : null
}

// The nodes that an output of this one is wired into.
function targets(node) {
    const wires = node.outputs.flatMap((output) => output.links ?? [])
    return wires.map((wire) => node.graph.getNodeById(node.graph.links.get(wire).target_id))
}

async function play(node, heard) {
    if (!heard) return say(node, "play works with a sample voice, or with Load Audio wired to audio")
    SHOWN.get(node)()
    const address = heard.recording
        ? api.apiURL(`/view?${new URLSearchParams({ filename: heard.recording, type: "input" })}`)
        : api.apiURL(`/unitalking/voice/sound?${new URLSearchParams(heard)}`)
    if (!PLAYED.paused && PLAYED.src.endsWith(address)) return PLAYED.pause()
    PLAYED.src = address
    try {
        await PLAYED.play()
    } catch (error) {
        const refused = heard.file && (await (await fetch(address)).json().catch(() => null))
        say(node, refused?.error ?? `cannot be played here: ${error.message}`)
    }
}
