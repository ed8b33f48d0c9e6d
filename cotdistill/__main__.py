"""`python -m cotdistill` (torchrun needs it) and the console script."""

import os
import sys


def main() -> None:
    """Set what must be set before torch is imported, then run the command line."""
    # Transparent huge pages for torch's CPU allocator: 1.5x on training here, and free.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    # Threads that wait for each other spin for milliseconds; where other processes want the processor, too, each turn
    # of the scheduler goes by in spinning: 74 CPU seconds instead of 11, 6 minutes instead of 1, for 60 rows of the
    # embedded teacher on two busy cores. So they spin for a shorter while (not measured on a quiet machine).
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # pydantic would search every installed package for plug-ins of its own.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    # stderr is ours: no bars or notices from libraries.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    from cotdistill.streams import prepare_streams

    prepare_streams()
    from cotdistill.options import spare

    spare(sys.argv[1:])
    from cotdistill.cli import run

    run()


if __name__ == "__main__":
    main()
