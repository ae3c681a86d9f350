"""Drives our simulated Alpaca devices with alpyca, the client library of the ASCOM initiative (MIT).

    alpyca_client.py HOST:PORT DISCOVERY_PORT

Prints `passed` and ends with 0, or ends with the first thing that is not as a client may expect it.
"""

import sys
import time

from alpaca import discovery, management
from alpaca.camera import Camera, CameraStates
from alpaca.dome import Dome, ShutterState
from alpaca.exceptions import (
    InvalidOperationException,
    InvalidValueException,
    NotConnectedException,
    NotImplementedException,
    ParkedException,
    ValueNotSetException,
)
from alpaca.filterwheel import FilterWheel
from alpaca.focuser import Focuser
from alpaca.observingconditions import ObservingConditions
from alpaca.rotator import Rotator
from alpaca.safetymonitor import SafetyMonitor
from alpaca.switch import Switch
from alpaca.telescope import Telescope

ADDRESS, DISCOVERY_PORT = sys.argv[1], int(sys.argv[2])


def until(what, so, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if so():
            return
        time.sleep(0.1)
    raise AssertionError(f"never: {what}")


def refused(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError(f"{call} did not raise {kind.__name__}")


def assign(device, member, value):
    return lambda: setattr(device, member, value)


def found():
    discovery.port = DISCOVERY_PORT
    servers = discovery.search_ipv4(numquery=1, timeout=1)
    assert any(server.endswith(":" + ADDRESS.split(":")[1]) for server in servers), servers
    assert management.apiversions(ADDRESS) == [1]
    assert management.description(ADDRESS)["Manufacturer"] == "Alidade"
    kinds = [device["DeviceType"] for device in management.configureddevices(ADDRESS)]
    wanted = ["Telescope", "Camera", "Dome", "FilterWheel", "Focuser", "ObservingConditions", "Rotator", "SafetyMonitor", "Switch"]
    assert set(wanted) <= set(kinds), kinds


def telescope():
    mount = Telescope(ADDRESS, 0)
    assert mount.InterfaceVersion == 4 and mount.Name
    refused(NotConnectedException, lambda: mount.RightAscension)
    mount.Connect()
    until("connected", lambda: not mount.Connecting and mount.Connected)
    assert mount.CanSlewAsync and mount.CanPark and not mount.CanPulseGuide and mount.AtPark
    ra = (mount.SiderealTime + 1.0) % 24.0
    refused(ParkedException, lambda: mount.SlewToCoordinatesAsync(ra, 40.0))
    refused(ParkedException, mount.AbortSlew)
    mount.Unpark()
    until("unparked", lambda: not mount.AtPark)
    mount.Tracking = False
    refused(InvalidOperationException, lambda: mount.SlewToCoordinatesAsync(ra, 40.0))
    mount.Tracking = True
    refused(InvalidValueException, lambda: mount.SlewToCoordinatesAsync(25.0, 40.0))
    refused(InvalidValueException, lambda: mount.SlewToCoordinatesAsync(ra, 91.0))
    refused(InvalidOperationException, lambda: mount.SlewToCoordinatesAsync((ra + 12.0) % 24.0, -60.0))
    refused(NotImplementedException, mount.FindHome)
    mount.SlewToCoordinatesAsync(ra, 40.0)
    assert mount.Slewing
    until("on target", lambda: not mount.Slewing)
    assert abs(mount.RightAscension - ra) < 0.01 and abs(mount.Declination - 40.0) < 0.01 and mount.Tracking
    assert mount.Altitude > 60.0 and abs(mount.TargetDeclination - 40.0) < 1e-6
    assert {"Altitude", "Slewing", "Tracking"} <= {state["Name"] for state in mount.DeviceState}
    mount.Park()
    until("parked", lambda: mount.AtPark)
    mount.Disconnect()
    refused(NotConnectedException, lambda: mount.Altitude)


def camera():
    eye = Camera(ADDRESS, 0)
    eye.Connected = True
    width, height = eye.CameraXSize, eye.CameraYSize
    assert (width, height) == (96, 64) and eye.CanAbortExposure and eye.MaxADU == 65535
    refused(InvalidOperationException, lambda: eye.ImageArray)
    refused(InvalidValueException, lambda: eye.StartExposure(-1.0, True))
    refused(InvalidValueException, assign(eye, "BinX", 99))
    refused(NotImplementedException, lambda: eye.Gain)
    eye.StartExposure(0.5, True)
    assert eye.CameraState == CameraStates.cameraExposing and not eye.ImageReady
    refused(InvalidOperationException, lambda: eye.StartExposure(0.5, True))
    until("ready", lambda: eye.ImageReady)
    image = eye.ImageArray
    assert eye.ImageArrayInfo.Rank == 2
    # The test renders 100 x row from the bottom + column: the picture has its first row at the top.
    assert (len(image), len(image[0])) == (width, height)
    for x, y in [(0, 0), (5, 0), (0, 7), (width - 1, height - 1)]:
        assert image[x][y] == 100 * (height - 1 - y) + x, (x, y, image[x][y])
    assert abs(eye.LastExposureDuration - 0.5) < 1e-6 and "T" in eye.LastExposureStartTime
    eye.StartX, eye.StartY, eye.NumX, eye.NumY = 10, 4, 20, 8
    eye.StartExposure(0.0, False)
    until("the part is ready", lambda: eye.ImageReady)
    part = eye.ImageArray
    assert (len(part), len(part[0])) == (20, 8) and part[0][0] == 100 * (height - 1 - 4) + 10
    eye.NumX = width
    refused(InvalidValueException, lambda: eye.StartExposure(0.1, True))
    eye.BinX = eye.BinY = 2
    assert eye.NumX == width // 2 and eye.StartX == 0
    eye.StartExposure(20.0, True)
    eye.AbortExposure()
    until("idle", lambda: eye.CameraState == CameraStates.cameraIdle)
    assert not eye.ImageReady
    eye.SetCCDTemperature = -15.0
    assert abs(eye.SetCCDTemperature + 15.0) < 0.01


def dome():
    roof, monitor = Dome(ADDRESS, 0), SafetyMonitor(ADDRESS, 0)
    assert not monitor.IsSafe, "not connected is not safe"
    roof.Connected = monitor.Connected = True
    assert monitor.IsSafe and roof.ShutterStatus == ShutterState.shutterClosed
    roof.OpenShutter()
    assert roof.ShutterStatus == ShutterState.shutterOpening and roof.Slewing
    until("open", lambda: roof.ShutterStatus == ShutterState.shutterOpen)
    refused(InvalidValueException, lambda: roof.SlewToAzimuth(400.0))
    refused(NotImplementedException, roof.FindHome)
    roof.SlewToAzimuth(200.0)
    until("turned", lambda: not roof.Slewing and abs(roof.Azimuth - 200.0) < 0.5)
    roof.CloseShutter()
    until("closed", lambda: roof.ShutterStatus == ShutterState.shutterClosed)


def wheel_and_focuser():
    wheel = FilterWheel(ADDRESS, 0)
    wheel.Connected = True
    assert wheel.Names == ["g", "r", "i"] and len(wheel.FocusOffsets) == 3
    wheel.Position = 2
    until("turned", lambda: wheel.Position == 2)
    refused(InvalidValueException, assign(wheel, "Position", 3))
    focuser = Focuser(ADDRESS, 0)
    focuser.Connected = True
    assert focuser.Absolute and not focuser.TempCompAvailable
    focuser.Move(focuser.Position + 400)
    assert focuser.IsMoving
    focuser.Halt()
    until("halted", lambda: not focuser.IsMoving)
    refused(InvalidValueException, lambda: focuser.Move(-5))
    refused(NotImplementedException, lambda: focuser.StepSize)


def weather():
    mast = ObservingConditions(ADDRESS, 0)
    mast.Connected = True
    assert -60 < mast.Temperature < 60 and 0 <= mast.Humidity <= 100 and mast.RainRate == 0
    assert mast.SkyTemperature < mast.Temperature and mast.TimeSinceLastUpdate("Humidity") == 0
    refused(NotImplementedException, lambda: mast.StarFWHM)
    refused(InvalidValueException, lambda: mast.SensorDescription("nonsense"))


def rotator():
    field = Rotator(ADDRESS, 0)
    field.Connected = True
    begun = field.Position
    assert field.CanReverse and not field.Reverse and 0 <= begun < 360
    field.MoveAbsolute((begun + 3.0) % 360.0)
    assert field.IsMoving and abs(field.TargetPosition - (begun + 3.0) % 360.0) < 1e-6
    until("turned", lambda: not field.IsMoving)
    assert abs(field.Position - (begun + 3.0) % 360.0) < 0.01
    mechanism = field.MechanicalPosition
    field.Sync(10.0)
    assert abs(field.Position - 10.0) < 0.01 and abs(field.MechanicalPosition - mechanism) < 0.01
    field.Move(-2.0)
    until("turned back", lambda: not field.IsMoving)
    assert abs(field.Position - 8.0) < 0.01 and abs(field.MechanicalPosition - mechanism + 2.0) < 0.01
    field.Reverse = True
    at = field.Position
    field.Move(1.0)
    until("turned the other way", lambda: not field.IsMoving)
    assert abs(field.Position - at - 1.0) < 0.01 and abs(field.MechanicalPosition - mechanism + 3.0) < 0.01
    field.MoveMechanical(mechanism)
    field.Halt()
    until("halted", lambda: not field.IsMoving)
    assert field.MechanicalPosition < mechanism
    refused(InvalidValueException, lambda: field.MoveAbsolute(400.0))
    refused(InvalidValueException, lambda: field.Sync(-1.0))
    refused(NotImplementedException, lambda: field.StepSize)
    assert {"IsMoving", "MechanicalPosition", "Position"} <= {state["Name"] for state in field.DeviceState}


def switch():
    strip = Switch(ADDRESS, 0)
    strip.Connected = True
    names = [strip.GetSwitchName(at) for at in range(strip.MaxSwitch)]
    lamp, heater, volts = names.index("focuser"), names.index("dew heater"), names.index("supply volts")
    assert strip.CanWrite(lamp) and not strip.CanWrite(volts) and not strip.CanAsync(lamp)
    assert strip.MaxSwitchValue(heater) == 255 and strip.SwitchStep(heater) == 1 and strip.MinSwitchValue(heater) == 0
    strip.SetSwitchValue(heater, 100.0)
    assert strip.GetSwitchValue(heater) == 100.0 and strip.GetSwitch(heater)
    before = strip.GetSwitchValue(volts)
    focuser = Focuser(ADDRESS, 0)
    strip.SetSwitch(lamp, False)
    assert not strip.GetSwitch(lamp) and strip.GetSwitchValue(volts) > before
    refused(NotConnectedException, lambda: focuser.Position)
    strip.SetSwitch(lamp, True)
    assert focuser.Position > 0
    refused(InvalidValueException, lambda: strip.GetSwitch(strip.MaxSwitch))
    refused(InvalidValueException, lambda: strip.SetSwitchValue(heater, 256.0))
    refused(NotImplementedException, lambda: strip.SetSwitchValue(volts, 12.0))
    refused(NotImplementedException, lambda: strip.SetSwitchName(lamp, "lamp"))


found()
telescope()
camera()
dome()
wheel_and_focuser()
weather()
rotator()
switch()
print("passed")
