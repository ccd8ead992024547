"""Workers in threads of their own."""

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
