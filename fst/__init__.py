"""The functional system test: plan, site, cases, run, verdicts, evidence."""
