"""Mistakes in what the editor shows in other languages."""

SCRIPT = "scripts/make_locales.py"
TESTS = "tests/scripts/test_make_locales.py::test_"

MISTAKES = [
    {
        "name": "tooltips_left_out_of_the_english_texts",
        "file": SCRIPT,
        "old": '({"tooltip": tooltip} if tooltip else {})',
        "new": "{}",
        "tests": [f"{TESTS}texts_are_in_the_editors_shape_and_of_our_nodes_alone"],
    },
    {
        "name": "texts_of_all_nodes_of_the_host",
        "file": SCRIPT,
        "old": ' for name, info in object_info.items() if info["python_module"].endswith(PACK_NAME)}',
        "new": " for name, info in object_info.items()}",
        "tests": [f"{TESTS}texts_are_in_the_editors_shape_and_of_our_nodes_alone"],
    },
    {
        "name": "help_pages_need_no_translation",
        "file": SCRIPT,
        "old": ' | {page.name: written(page) for page in sorted(PAGES.glob("*.md"))}',
        "new": "",
        "tests": ["tests/test_locales.py::test_a_language_has_every_text_of_the_english_as_it_is"],
    },
    {
        "name": "a_translation_stays_current_for_ever",
        "file": SCRIPT,
        "old": "noted.get(place) != digest(english[place])",
        "new": "place not in noted",
        "tests": [f"{TESTS}a_changed_english_text_is_named"],
    },
    {
        "name": "superfluous_translations_unnoticed",
        "file": SCRIPT,
        "old": "for place in [*translated, *noted] if",
        "new": "for place in () if",
        "tests": [f"{TESTS}a_missing_and_a_superfluous_text_are_named"],
    },
    {
        "name": "all_texts_noted_as_translated_with_one",
        "file": SCRIPT,
        "old": 'digest(english[place]) if place in current else noted.get(place, "")',
        "new": "digest(english[place])",
        "tests": [f"{TESTS}only_what_was_translated_anew_is_noted"],
    },
    {
        "name": "a_broken_line_makes_a_translation_out_of_date",
        "file": SCRIPT,
        "old": '" ".join(text.split())',
        "new": "text",
        "tests": [f"{TESTS}a_digest_does_not_see_how_lines_are_broken"],
    },
    {
        "name": "message_that_is_quoted_in_other_words",
        "file": "nodes/conditioning.py",
        "old": "no speech: nothing will be said",
        "new": "no speech: nobody speaks",
        "tests": ["tests/test_locales.py::test_messages_are_quoted_as_the_code_has_them"],
    },
    {
        "name": "an_output_that_says_nothing",
        "file": "nodes/sampling.py",
        "old": ', tooltip="The solver; wire it into SamplerCustomAdvanced."',
        "new": "",
        "tests": ["tests/host/test_nodes.py::test_every_output_says_what_comes_out"],
        "host": True,
    },
    {
        "name": "outputs_left_out_of_the_help_pages",
        "file": "scripts/make_help.py",
        "old": "zip(WORDS[language], (inputs, outputs), strict=True)",
        "new": "zip(WORDS[language], (inputs, ()), strict=True)",
        "tests": ["tests/host/test_locales.py::test_help_pages_show_the_node_and_all_of_its_inputs_and_outputs"],
        "host": True,
    },
]
