"""A roof controller behind pymodbus: the server is theirs, the ladder logic below is what a controller would run.

Discrete inputs: 0 closed, 1 open, 2 closing, 3 opening, 4 emergency stop (inverted: 1 is fine). Coils: 10 open, 11 close,
12 stop; set back when taken. Holding registers: 40 bit 3 key at remote, 50 heartbeat. Input registers: 2 temperature (0.1
degC, signed), 6-7 wind (float, low word first). The roof travels in one second and closes by itself when the heartbeat
register has not changed for three.

Prints one line with where it listens. `tcp` and `rtu` (RTU frames over TCP) take a free port, `serial` a pseudo-terminal.
"""

import asyncio
import os
import socket
import struct
import sys
import threading
import time
import tty

from pymodbus import FramerType
from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
from pymodbus.server import ModbusSerialServer, ModbusTcpServer

DISCRETE, COIL, HOLDING, INPUT = 2, 1, 3, 4


def block(size):
    return ModbusSequentialDataBlock(1, [0] * (size + 1))


def bridge(a, b):
    """Bytes from one terminal's master to the other's."""
    while True:
        try:
            os.write(b, os.read(a, 256))
        except OSError:
            return


async def logic(server):
    async def put(table, address, values):
        await server.async_setValues(1, table, address, values)

    async def get(table, address):
        return (await server.async_getValues(1, table, address, 1))[0]

    position, motor, beat, heard = 0.0, 0, None, None
    low, high = struct.unpack("<HH", struct.pack("<f", 5.25))
    await put(INPUT, 2, [0x10000 - 37])
    await put(INPUT, 6, [low, high])
    await put(HOLDING, 40, [0b1000])
    while True:
        now = time.monotonic()
        for address, direction in ((10, 1), (11, -1), (12, 0)):
            if await get(COIL, address):
                await put(COIL, address, [False])
                motor = direction
        seen = await get(HOLDING, 50)
        if seen != beat:
            beat, heard = seen, now
        if beat != 0 and now - heard > 3.0 and position > 0:
            motor = -1
        position = min(1.0, max(0.0, position + motor * 0.05))
        if position in (0.0, 1.0) and motor == (1 if position else -1):
            motor = 0
        await put(DISCRETE, 0, [position == 0.0, position == 1.0, motor == -1, motor == 1, True])
        await asyncio.sleep(0.05)


async def main(kind):
    device = ModbusDeviceContext(di=block(16), co=block(32), hr=block(64), ir=block(16))
    context = ModbusServerContext(devices=device, single=True)
    if kind == "serial":
        ours, ours_slave = os.openpty()
        theirs, theirs_slave = os.openpty()
        for a, b in ((ours, theirs), (theirs, ours)):
            threading.Thread(target=bridge, args=(a, b), daemon=True).start()
        for terminal in (ours_slave, theirs_slave):
            tty.setraw(terminal)
        place = os.ttyname(theirs_slave)
        server = ModbusSerialServer(context, framer=FramerType.RTU, port=os.ttyname(ours_slave), baudrate=19200)
    else:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            place = probe.getsockname()[1]
        framer = FramerType.SOCKET if kind == "tcp" else FramerType.RTU
        server = ModbusTcpServer(context, framer=framer, address=("127.0.0.1", place))
    await server.serve_forever(background=True)
    print(place, flush=True)
    # What the controller's logic throws ends the server, and the test with it.
    await logic(server)


asyncio.run(main(sys.argv[1]))
