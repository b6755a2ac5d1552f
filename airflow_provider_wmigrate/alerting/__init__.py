"""Who is told what, once: alerts, their sentences, deadlines."""
