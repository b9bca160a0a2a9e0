"""UniTalking in pure PyTorch: joint audio-video generation of talking portraits (arXiv 2603.01418).

No ComfyUI, no network, no files but checkpoints, no work at import.
"""
