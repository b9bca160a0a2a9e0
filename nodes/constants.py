"""Names that nodes and sockets share."""

from __future__ import annotations

CATEGORY = "UniTalking"
VOICE_TYPE = "UNITALKING_VOICE"
VOICE_KEY = "unitalking_voice"  # VOICE latents in a conditioning, VAE space
AUDIO_CONTEXT_KEY = "unitalking_audio_context"  # encoded text of the audio stream in a conditioning
LATENT_KEY = "unitalking"  # {"fps", "frames"} of a LATENT
DEFAULT_FPS = 24.0  # of a clip that does not say
