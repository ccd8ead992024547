"""Workers in threads of their own, and a model that is edited meanwhile."""

import threading


def run_all(workers):
    """Run the workers in threads of their own; raise what one of them raised."""
    failures = []

    def guarded(worker):
        try:
            worker()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive(), "a thread hangs"
    if failures:
        raise failures[0]


def run_beside_edits(workers, model, flats):
    """Run the workers while another thread sets the parameters to each of `flats` in turn."""
    done = threading.Event()

    def edit():
        turn = 0
        while not done.is_set():
            turn += 1
            try:
                with model.edit() as parameters:
                    parameters.flat = flats[turn % len(flats)]
            except RuntimeError as error:
                assert "while a call uses it" in str(error)
            done.wait(0.0005)

    editor = threading.Thread(target=edit)
    editor.start()
    try:
        run_all(workers)
    finally:
        done.set()
        editor.join(60)
