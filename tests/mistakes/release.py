"""Mistakes in what users install, and in what a registry is told of it."""

PACKED = "tests/host/test_packed.py::test_"
REGISTRY = "tests/test_registry.py::test_"
ENVIRONMENT = "tests/scripts/test_environment.py::test_"
OLD_HOSTS = "tests/host/test_old_hosts.py::test_"
NODE_LIST = "tests/host/test_node_list.py::test_"

MISTAKES = [
    # ---- the archive
    {
        "name": "demo_that_needs_a_script_that_is_not_packed",
        "file": "scripts/demo.py",
        "old": "import environment\n",
        "new": "import environment\nimport make_workflows  # noqa: F401\n",
        "tests": [
            f"{PACKED}the_scripts_are_the_demo_and_what_it_imports",
            f"{PACKED}the_demo_and_the_judges_need_nothing_but_the_archive",
        ],
        "host": True,
    },
    {
        "name": "judges_outside_of_the_archive",
        "file": "unitalking/evaluate.py",
        "old": '.parent.parent / "assets" / "judges"',
        "new": '.parent.parent / "tests" / "judges"',
        "tests": [f"{PACKED}the_demo_and_the_judges_need_nothing_but_the_archive"],
        "host": True,
    },
    # ---- where the demo runs
    {
        "name": "installed_pack_that_fetches_another_comfyui",
        "file": "scripts/environment.py",
        "old": "around = SCRIPTS.parent.parent.parent",
        "new": "around = SCRIPTS.parent.parent",
        "tests": [f"{ENVIRONMENT}an_installed_pack_takes_the_comfyui_around_it"],
    },
    {
        "name": "demo_that_needs_the_linters",
        "file": "scripts/environment.py",
        "old": "(TOOL_MODULES if with_tools else ())",
        "new": "TOOL_MODULES",
        "tests": [f"{ENVIRONMENT}what_only_the_tests_import_is_no_reason_to_refuse_a_python_for_the_demo"],
    },
    # ---- hosts
    {
        "name": "old_host_told_in_many_lines",
        "file": "nodes/__init__.py",
        "old": "or newer and this is {version}: update",
        "new": "or newer\\nand this is {version}: update",
        "tests": [f"{OLD_HOSTS}an_old_host_says_in_one_line_what_is_needed_and_goes_on_without_the_pack"],
        "host": True,
    },
    {
        "name": "version_compared_as_text",
        "file": "scripts/test_hosts.py",
        "old": 'return tuple(map(int, re.findall(r"\\d+", version)))',
        "new": 'return tuple(re.findall(r"\\d+", version))',
        "tests": [f"{OLD_HOSTS}only_an_old_host_may_refuse_and_only_a_new_one_may_take_the_pack"],
        "host": True,
    },
    # ---- what a registry is told
    {
        "name": "node_that_the_node_list_lacks",
        "file": "nodes/save.py",
        "old": 'node_id="UniTalkingSaveMP4"',
        "new": 'node_id="UniTalkingSaveVideo"',
        "tests": [f"{NODE_LIST}the_node_list_is_what_the_entry_point_gives"],
        "host": True,
    },
    {
        "name": "version_without_changes",
        "file": "pyproject.toml",
        "old": 'version = "0.1.0"',
        "new": 'version = "0.2.0"',
        "tests": [f"{REGISTRY}the_changelogs_newest_heading_names_the_version"],
    },
    {
        "name": "older_host_promised_than_accepted",
        "file": "pyproject.toml",
        "old": 'requires-comfyui = ">=0.30.0"',
        "new": 'requires-comfyui = ">=0.27.0"',
        "tests": [f"{REGISTRY}the_host_that_is_asked_for_is_the_oldest_that_the_code_accepts"],
    },
    {
        "name": "icon_that_is_not_there",
        "file": "pyproject.toml",
        "old": "main/docs/pictures/icon.png",
        "new": "main/docs/pictures/banner.jpg",
        "tests": [f"{REGISTRY}the_icon_is_a_small_square"],
    },
    {
        "name": "head_that_keeps_its_mouth_shut",
        "file": "scripts/make_icon.py",
        "old": "((0.575, 0.592), (0.47, 0.635)),\n    ((0.47, 0.635), (0.555, 0.695)),",
        "new": "((0.575, 0.592), (0.56, 0.645)),\n    ((0.56, 0.645), (0.555, 0.695)),",
        "tests": [f"{REGISTRY}the_script_draws_the_icon_and_the_banner_again"],
    },
]
