"""All measurements, one after the other: `python -m bench`."""

from bench import lateness, throughput
from scheduler.logs import configure_logs

if __name__ == "__main__":
    configure_logs(
        "WARNING"
    )  # of this process; the workers that are measured log as they always do
    lateness.main()
    throughput.main()
