"""The ground floor: settings, the embedded database, the queue, health, the admin's theme and the web entrance.

It holds what every other room stands on and knows none of them.
"""
