"""ComfyUI-UniTalking: talking portraits, picture and speech together, from text."""

# A test runner may import this file without a package around it; ComfyUI never does.
if __package__:
    from .nodes import comfy_entrypoint

    WEB_DIRECTORY = "./web"
    __all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
