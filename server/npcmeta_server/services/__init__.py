"""The services of npcmeta.v1, one file each, free of any transport: messages in, messages out, ServiceError raised."""
