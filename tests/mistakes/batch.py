"""Mistakes in batches: the table, which server makes what, what is kept, and what a client knows of workflows."""

TABLE = "tests/unit/batch/test_table.py::test_"
SCHEDULE = "tests/unit/batch/test_schedule.py::test_"
REPORT = "tests/unit/batch/test_report.py::test_"
GIVEN = "tests/unit/client/test_given.py::test_"
BATCH = "tests/host/test_batch.py::test_"

MISTAKES = [
    # ---- the table
    {
        "name": "default_name_without_the_seed",
        "file": "unitalking/batch/table.py",
        "old": 'for column in COLUMNS if column != "name"]',
        "new": 'for column in COLUMNS if column not in ("name", "seed")]',
        "tests": [f"{TABLE}everything_that_a_row_asks_for_is_in_its_default_name"],
    },
    {
        "name": "name_that_depends_on_the_order_of_columns",
        "file": "unitalking/batch/table.py",
        "old": 'content = [cells.get(column, "") for column in COLUMNS if column != "name"]',
        "new": 'content = [cells["speech"], *(cell for name, cell in cells.items() if name not in ("speech", "name"))]',
        "tests": [f"{TABLE}name_by_default_does_not_depend_on_the_tables_order"],
    },
    {
        "name": "names_that_differ_in_case_only",
        "file": "unitalking/batch/table.py",
        "old": "row.name.casefold()",
        "new": "row.name",
        "tests": [f"{TABLE}wrong_cell_is_named_by_row_and_column"],
    },
    {
        "name": "file_looked_for_where_the_command_runs",
        "file": "unitalking/batch/table.py",
        "old": "return file",
        "new": "return Path(text)",
        "tests": [f"{TABLE}cells_become_what_they_ask_for"],
    },
    {
        "name": "comma_without_quotes_let_through",
        "file": "unitalking/batch/table.py",
        "old": "if len(cells) > len(header):",
        "new": "if len(cells) > len(COLUMNS):",
        "tests": [f"{TABLE}wrong_cell_is_named_by_row_and_column"],
    },
    {
        "name": "only_the_first_mistake_of_a_table_told",
        "file": "unitalking/batch/table.py",
        "old": '*(f"  {line}" for line in wrong)]',
        "new": '*(f"  {line}" for line in wrong[:1])]',
        "tests": [f"{TABLE}everything_that_is_wrong_is_said_at_once"],
    },
    # ---- the schedule
    {
        "name": "server_given_all_rows",
        "file": "unitalking/batch/schedule.py",
        "old": "if len(self.held_by(server)) >= AHEAD:",
        "new": "if len(self.held_by(server)) > len(self.jobs):",
        "tests": [f"{SCHEDULE}server_holds_a_few_rows_at_once"],
    },
    {
        "name": "failed_row_given_to_the_same_server",
        "file": "unitalking/batch/schedule.py",
        "old": "if server not in job.failed_on or self.live <= set(job.failed_on):",
        "new": "if server:",
        "tests": [f"{SCHEDULE}row_that_fails_goes_to_another_server"],
    },
    {
        "name": "failed_row_that_waits_for_servers_that_are_gone",
        "file": "unitalking/batch/schedule.py",
        "old": "        self.live.discard(server)\n",
        "new": "",
        "tests": [f"{SCHEDULE}row_that_failed_on_every_live_server_is_tried_there_again"],
    },
    {
        "name": "row_that_ends_its_servers_tried_for_ever",
        "file": "unitalking/batch/schedule.py",
        "old": "            self.fail(lost[0], message)\n",
        "new": "            self._waiting.append(lost[0])\n",
        "tests": [
            f"{SCHEDULE}row_that_ends_its_servers_is_given_up",
            f"{SCHEDULE}rows_of_a_lost_server_come_before_the_others_and_only_the_oldest_counts_as_failed",
        ],
    },
    {
        "name": "one_retry_too_many",
        "file": "unitalking/batch/schedule.py",
        "old": "if len(job.failed_on) > self.retries:",
        "new": "if len(job.failed_on) > self.retries + 1:",
        "tests": [f"{SCHEDULE}row_is_given_up_after_its_retries"],
    },
    # ---- the report
    {
        "name": "report_that_forgets_the_last_one",
        "file": "unitalking/batch/report.py",
        "old": "else earlier.get(row.name, there)",
        "new": "else there",
        "tests": [f"{REPORT}rows_made_before_keep_what_their_report_said"],
    },
    {
        "name": "failed_row_with_a_file",
        "file": "unitalking/batch/report.py",
        "old": 'file_name if job.status == "done" else ""',
        "new": "file_name",
        "tests": [f"{REPORT}report_says_what_became_of_each_row"],
    },
    # ---- what is given, in a workflow
    {
        "name": "sample_behind_a_file_that_stays_wired",
        "file": "unitalking/client/given.py",
        "old": "        unwire(workflow, class_type, self.file_input)\n",
        "new": "",
        "tests": [f"{GIVEN}sample_is_heard_where_a_file_was_wired"],
    },
    {
        "name": "seed_of_long_talk_not_told",
        "file": "unitalking/client/given.py",
        "old": 'if node["class_type"] in SEED)',
        "new": 'if node["class_type"] == SEED[0])',
        "tests": [f"{GIVEN}speech_and_seed_reach_the_node_that_takes_them"],
    },
    # ---- servers
    {
        "name": "clip_fetched_under_its_final_name",
        "file": "unitalking/batch/server.py",
        "old": 'half = target.with_name(f"{target.name}.part")',
        "new": "half = target",
        "tests": [f"{BATCH}clip_has_its_name_only_once_it_is_whole"],
        "host": True,
    },
    {
        "name": "queued_anew_what_an_earlier_run_had_queued",
        "file": "unitalking/batch/run.py",
        "old": "prompt_id = str(uuid.uuid5(OURS, json.dumps(prompt, sort_keys=True)))",
        "new": "prompt_id = str(uuid.uuid4())",
        "tests": [f"{BATCH}same_command_makes_only_what_is_missing_and_fetches_what_was_made"],
        "host": True,
    },
    {
        "name": "clip_gone_from_its_server_asked_for_again_and_again",
        "file": "unitalking/batch/run.py",
        "old": "            self._gone[job] += 1\n",
        "new": "",
        "tests": [f"{BATCH}clip_that_is_gone_from_its_server_is_saved_anew"],
        "host": True,
    },
    {
        "name": "taken_over_rows_left_running",
        "file": "unitalking/batch/run.py",
        "old": "if not self.schedule.is_waiting(job)])",
        "new": "if self.schedule.is_waiting(job)])",
        "tests": [f"{BATCH}what_others_took_over_is_cancelled_where_it_was"],
        "host": True,
    },
    {
        "name": "interruption_that_leaves_the_queue_full",
        "file": "unitalking/batch/run.py",
        "old": "if (given := self._given[server.url])]",
        "new": "if (given := {})]",
        "tests": [f"{BATCH}interruption_cancels_what_was_queued_and_the_same_command_goes_on"],
        "host": True,
    },
    {
        "name": "interruption_in_the_background_ignored",
        "file": "unitalking/batch/__main__.py",
        "old": "    signal.signal(signal.SIGINT, signal.default_int_handler)\n",
        "new": "",
        "tests": [f"{BATCH}interruption_cancels_what_was_queued_and_the_same_command_goes_on"],
        "host": True,
    },
    {
        "name": "name_of_an_upload_escaped",
        "file": "unitalking/batch/server.py",
        "old": ", quote_fields=False)",
        "new": ")",
        "tests": [f"{BATCH}row_that_cannot_be_made_is_given_up_and_the_others_are_made"],
        "host": True,
    },
]
