"""What the lab's regions look like from outside: APIs, agents, DNS answers, and drills on them."""
