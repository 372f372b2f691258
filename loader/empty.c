/* keeps the room's library non-empty until its first file lands */ typedef int loader_empty;
