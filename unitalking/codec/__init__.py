"""From sound, pictures and text to latents and back: mel, audio VAE, vocoder, small video VAE, byte text encoder."""
