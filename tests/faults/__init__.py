"""Fault injection in real processes: after each fault, nothing that was accepted is lost or has happened twice.

A trainer or a worker is killed                         test_killing, test_resuming, test_outage
a worker is stopped, and wakes too late                 test_zombies, test_outage
a crash, a stop, a full or broken disk while publishing test_publishing
a flipped bit                                           test_publishing
the API dies amid a request; a request comes twice      test_double_requests
cancelling races completion                             test_double_requests
Postgres goes away                                      test_outage
SQLite is locked                                        test_locked
the wall clock jumps                                    test_clocks
memory runs out; a trainer hangs                        test_out_of_memory, test_resuming
a worker is told to stop                                test_resuming, test_killing
the API is told to stop; a rolling restart              test_stopping_the_api
what is in use is deleted                               test_deleting_in_use
clients that do not read, and clients that trickle      test_slow_clients
"""
