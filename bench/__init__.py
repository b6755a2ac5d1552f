"""What wmigrate costs, in CPU, time, memory and round trips, beside a plain loop and other tools. See README.md."""
