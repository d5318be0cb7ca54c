"""The second factor of staff: codes from an app and recovery codes, on django-otp (docs/second-factor.md, ADR 0038).

`devices` has the verbs, `gate` stands in front of every page of the admin, `pages` are what people see of both.
"""
