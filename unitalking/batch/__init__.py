"""Many clips from a table, made by running ComfyUI servers through their own queues.

`table` reads rows, `schedule` decides who makes which, `server` speaks to one server, `run` joins them, `report` says
what became of each row. `python -m unitalking.batch` is the command; nothing else of the pack knows this room, which
is the only one that speaks to other machines.
"""
