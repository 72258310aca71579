"""SIPp as the caller: a scenario that takes an answer, a refusal or a move as they come."""

_CALLER = """<?xml version="1.0"?>
<scenario name="a call that may be taken, refused or moved">
 <send retrans="500"><![CDATA[{invite}]]></send>
 <recv response="100" optional="true"/>
 <recv response="180" optional="true"/>
 <recv response="603" optional="true" next="over"/>
 <recv response="302" optional="true" next="over"/>
 <recv response="200" rrs="true"/>
 <send><![CDATA[{ack}]]></send>
 <send retrans="500"><![CDATA[{bye}]]></send>
 <recv response="200" next="end"/>
 <label id="over"/>
 <send><![CDATA[{refused}]]></send>
 <label id="end"/>
</scenario>
"""
_HEAD = """
{method} {uri} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=z9hG4bK-[pid]-[call_number]-{branch}
From: <sip:[field0]@[local_ip]:[local_port]>;tag=[pid]-[call_number]
{to}
Call-ID: [call_id]
CSeq: {number}
Max-Forwards: 70
Contact: <sip:[field0]@[local_ip]:[local_port]>
"""
SDP = """Content-Type: application/sdp
Content-Length: [len]

v=0
o=caller 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [media_port] RTP/AVP 0
"""


def calling() -> str:
    """Return SIPp's scenario of a caller who takes 200, 302 and 603 as they come."""
    callee, dialled = "sip:[field1]@[remote_ip]:[remote_port]", "To: <sip:[field1]@[remote_ip]>"
    own = {"uri": callee, "to": "[last_To:]", "branch": "invite"}
    inside = {"uri": "[next_url]"}
    end = "Content-Length: 0\n\n"
    return _CALLER.format(
        invite=_HEAD.format(**own | {"to": dialled}, method="INVITE", number="1 INVITE") + SDP,
        ack=_HEAD.format(**own | inside | {"branch": "ack"}, method="ACK", number="1 ACK") + end,
        bye=_HEAD.format(**own | inside | {"branch": "bye"}, method="BYE", number="2 BYE") + end,
        refused=_HEAD.format(**own, method="ACK", number="1 ACK") + end,
    )
