/* keeps the room's library non-empty until its first file lands */ typedef int runtime_empty;
