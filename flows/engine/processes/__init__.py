"""Commands of stages as processes: started, listened to, forked from a process with imports ready, ended."""
