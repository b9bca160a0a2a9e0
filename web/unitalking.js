// What the stock editor cannot do with the pack's nodes: fold advanced inputs where nodes are drawn on the canvas, and
// say while somebody types how long a speech lasts and whether a voice is any good.

import { app } from "../../scripts/app.js"
import { api } from "../../scripts/api.js"

const PREFIX = "UniTalking"
const PAUSE_MS = 400 // after the last key
const PLAYED = new Audio()

app.registerExtension({
    name: "unitalking.editor",
    nodeCreated(node) {
        if (!node.comfyClass?.startsWith(PREFIX)) return
        fold(node)
        LIVE[node.comfyClass]?.(node)
    },
})

const LIVE = {
    UniTalkingTextPrompt: (node) => onChange(node, "speech", () => showLength(node)),
    UniTalkingLoadVoice: (node) => voiceNode(node, "voice_file", () => ({ file: value(node, "voice_file") })),
    UniTalkingEncodeVoiceReference: (node) => voiceNode(node, "sample_voice", () => source(node)),
}

// A node whose widget names a voice: judged when another is chosen, and heard by a button.
function voiceNode(node, widget, asked) {
    onChange(node, widget, () => showVoice(node, asked()))
    const button = node.addWidget("button", "play", null, () => play(node, asked()), { serialize: false })
    button.serialize = false
}

// Folded inputs come back by "Show Advanced" in the node's menu; Nodes 2.0 has a button of its own for them.
function fold(node) {
    for (const widget of node.widgets?.filter((each) => each.options?.advanced) ?? []) {
        widget.advanced = true
        const room = widget.computeLayoutSize // of a text field: a folded one leaves its room to the others
        if (!room) continue
        widget.computeLayoutSize = (...given) =>
            node.showAdvanced ? room.apply(widget, given) : { minHeight: 0, maxHeight: 0, minWidth: 0 }
    }
    node.setSize(node.computeSize())
}

function widgetOf(node, name) {
    return node.widgets.find((widget) => widget.name === name)
}

function value(node, name) {
    return widgetOf(node, name).value
}

// A run says the same and more, on the same place of the node.
function say(node, text) {
    if (node.graph !== node.graph?.rootGraph) return // inside of a subgraph the number is that of another node
    api.dispatchCustomEvent("progress_text", { nodeId: String(node.id), text })
}

function onChange(node, name, react) {
    const widget = widgetOf(node, name)
    const before = widget.callback
    let waiting
    widget.callback = function (...given) {
        clearTimeout(waiting)
        waiting = setTimeout(react, PAUSE_MS)
        return before?.apply(this, given)
    }
}

async function showLength(node) {
    const wired = node.inputs?.some((input) => input.widget?.name === "speech" && input.link != null)
    if (wired) return
    const answer = await api.fetchApi("/unitalking/speech", { method: "POST", body: value(node, "speech") })
    const { seconds, error } = await answer.json()
    say(node, error ?? (seconds ? `about ${seconds.toFixed(1)} s` : "nothing to say"))
}

async function showVoice(node, asked) {
    if (!asked) return
    const answer = await api.fetchApi(`/unitalking/voice?${new URLSearchParams(asked)}`)
    const { report, error } = await answer.json()
    say(node, report ?? error)
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

async function play(node, heard) {
    if (!heard) return say(node, "play works with a sample voice, or with Load Audio wired to audio")
    showVoice(node, heard)
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
