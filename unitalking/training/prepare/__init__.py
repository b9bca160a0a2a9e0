"""From clips to shards of cached latents: `python -m unitalking.training.prepare SOURCE OUT --model FILE`."""
