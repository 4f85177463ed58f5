import socket
def test_ulp():
    s=socket.create_server(("127.0.0.1",0)); c=socket.create_connection(s.getsockname())
    c.setsockopt(6,31,b"tls")
