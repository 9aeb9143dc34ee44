"""Many videos: who reads, who computes, who writes, and what the person at the terminal sees."""
