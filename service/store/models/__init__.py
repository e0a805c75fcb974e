"""Published models: names, immutable versions that own their files, and aliases.

Every change of a model first locks its row in `models`, so that changes of one model happen one after another. Lock
order between tables: jobs, models.
"""
