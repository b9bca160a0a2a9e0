"""What a client of a ComfyUI server has to know: workflows, prompts, outcomes. Pure data: it reads no network, no file.

For the command lines of this pack, `python -m unitalking.batch` and `scripts/`; the nodes need none of it.
"""
