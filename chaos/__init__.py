"""A shop's bad year in minutes: real processes are killed, stopped and misled while people order;
and whether what was promised is what is there."""
