"""Names that nodes and sockets share."""

from __future__ import annotations

CATEGORY = "UniTalking"
VOICE_TYPE = "UNITALKING_VOICE"
VOICE_KEY = "unitalking_voice"  # VOICE latents in a conditioning, VAE space; of several voices a tuple of them
TURNS_KEY = "unitalking_turns"  # when each of several voices begins, in seconds; in every conditioning of a run
AUDIO_CONTEXT_KEY = "unitalking_audio_context"  # encoded text of the audio stream in a conditioning
LATENT_KEY = "unitalking"  # {"fps", "frames"} of a LATENT, and "cut": how many of them do not belong to the clip
DEFAULT_FPS = 24.0  # of a clip that does not say
