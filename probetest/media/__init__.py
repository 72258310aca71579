"""RTP and RTCP: streams, what they carry, and how well they arrived."""
