"""All measurements, one after the other: `python -m bench`."""

from bench import lateness, throughput

if __name__ == "__main__":
    lateness.main()
    throughput.main()
