"""The DNS agent of one region: verdict, zone, plan, and what carries them out."""
