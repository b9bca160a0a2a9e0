"""Mistakes in loading LoRA files and in cleaning text for UMT5."""

LORA = "tests/host/test_lora.py::test_"
PARITY = "tests/host/test_lora_parity.py::test_"
CLEANING = "tests/unit/test_text_cleaning.py::test_"
UMT5 = "tests/host/test_umt5.py::test_"
NODE = "nodes/lora.py"
CLEANER = "unitalking/text_cleaning.py"

MISTAKES = [
    # ---- LoRA
    {
        "name": "wan_lora_on_the_sound",
        "file": NODE,
        "old": 'unnamed = "video" if stream == "both" else stream',
        "new": 'unnamed = "audio" if stream == "both" else stream',
        "tests": [f"{PARITY}a_wan_lora_reaches_the_sound_where_it_is_chosen_and_not_otherwise[own]"],
        "host": True,
    },
    {
        "name": "diffusers_query_and_key_exchanged",
        "file": "unitalking/checkpoint/public_layouts.py",
        "old": '    ("q", "to_q"),\n    ("k", "to_k"),\n',
        "new": '    ("k", "to_q"),\n    ("q", "to_k"),\n',
        "tests": [f"{PARITY}a_wan_lora_changes_the_picture_as_comfyuis_own_wan_model[diffusers]"],
        "host": True,
    },
    {
        "name": "diffusers_attentions_exchanged",
        "file": "unitalking/checkpoint/public_layouts.py",
        "old": '    ("self_attn", "attn1"),\n    ("cross_attn", "attn2"),\n',
        "new": '    ("self_attn", "attn2"),\n    ("cross_attn", "attn1"),\n',
        "tests": [f"{PARITY}the_names_of_diffusers"],
        "host": True,
    },
    {
        "name": "diffusers_norm_by_wans_number",
        "file": "unitalking/checkpoint/public_layouts.py",
        "old": '    ("norm3", "norm2"),\n',
        "new": "",
        "tests": [f"{PARITY}a_wan_lora_changes_the_picture_as_comfyuis_own_wan_model[diffusers difference]"],
        "host": True,
    },
    {
        "name": "lora_strength_left_out",
        "file": NODE,
        "old": "if key not in misfits}, strength)",
        "new": "if key not in misfits})",
        "tests": [f"{LORA}our_loader_knows_the_prefixes_of_trainers[diffusion_model.-0.3]"],
        "host": True,
    },
    {
        "name": "lora_without_its_alpha_when_loaded",
        "file": NODE,
        "old": "Noted(comfy.lora_convert.convert_lora(tensors))",
        "new": 'Noted({key: value for key, value in tensors.items() if not key.endswith("alpha")})',
        "tests": [f"{PARITY}a_wan_lora_changes_the_picture_as_comfyuis_own_wan_model[kohya]"],
        "host": True,
    },
    {
        "name": "lora_names_of_wan_fun_not_converted",
        "file": NODE,
        "old": "Noted(comfy.lora_convert.convert_lora(tensors))",
        "new": "Noted(tensors)",
        "tests": [f"{LORA}wan_funs_names_are_known"],
        "host": True,
    },
    {
        "name": "lora_tensors_not_applied_uncounted",
        "file": NODE,
        "old": "return patches, sorted(set(noted) - noted.read)",
        "new": "return patches, []",
        "tests": [f"{LORA}the_node_says_how_much_of_the_file_applied[foreign]"],
        "host": True,
    },
    {
        "name": "lora_tensors_looked_up_counted_as_applied",
        "file": NODE,
        "old": "        self.read.add(name)\n",
        "new": "        self.read.update(self)\n",
        "tests": [f"{LORA}the_node_says_how_much_of_the_file_applied[foreign]"],
        "host": True,
    },
    {
        "name": "lora_of_another_size_counted_as_applied",
        "file": NODE,
        "old": "        if not fits:\n",
        "new": "        if False:\n",
        "tests": [f"{LORA}patches_of_other_shapes_are_left_out_and_said"],
        "host": True,
    },
    # ---- text
    {
        "name": "entities_decoded_once",
        "file": CLEANER,
        "old": "html.unescape(html.unescape(mend(text)))",
        "new": "html.unescape(mend(text))",
        "tests": [f"{CLEANING}text_is_cleaned_without_ftfy"],
    },
    {
        "name": "entities_decoded_three_times",
        "file": CLEANER,
        "old": "html.unescape(html.unescape(mend(text)))",
        "new": "html.unescape(html.unescape(html.unescape(mend(text))))",
        "tests": [f"{CLEANING}entities_are_decoded_twice_and_no_more"],
    },
    {
        "name": "white_space_collapsed_before_entities",
        "file": CLEANER,
        "old": '" ".join(html.unescape(html.unescape(mend(text))).split())',
        "new": 'html.unescape(html.unescape(" ".join(mend(text).split())))',
        "tests": [f"{CLEANING}text_is_cleaned_without_ftfy"],
    },
    {
        "name": "white_space_stripped_but_not_collapsed",
        "file": CLEANER,
        "old": '" ".join(html.unescape(html.unescape(mend(text))).split())',
        "new": "html.unescape(html.unescape(mend(text))).strip()",
        "tests": [f"{CLEANING}text_is_cleaned_without_ftfy", f"{UMT5}umt5_gets_cleaned_text"],
        "host": True,
    },
    {
        "name": "text_for_umt5_not_cleaned",
        "file": "nodes/conditioning.py",
        "old": "        text = clean_text(text)\n",
        "new": "        pass\n",
        "tests": [f"{UMT5}umt5_gets_cleaned_text"],
        "host": True,
    },
    {
        "name": "text_for_the_encoder_of_bytes_cleaned",
        "file": "nodes/conditioning.py",
        "old": "    if config.text_encoder is None:\n        text = clean_text(text)\n",
        "new": "    text = clean_text(text)\n",
        "tests": [f"{UMT5}the_encoder_of_bytes_gets_text_as_it_is"],
        "host": True,
    },
    {
        "name": "text_too_long_cut_with_its_end_token",
        "file": "nodes/conditioning.py",
        "old": "row[config.text_len - 1 : -1] = []",
        "new": "row[config.text_len :] = []",
        "tests": [f"{UMT5}too_long_a_text_keeps_512_tokens_and_its_end"],
        "host": True,
    },
]
