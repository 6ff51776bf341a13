"""The same as minimal.py, but for what Mangum does by itself: to start and end the app's lifespan at every event."""

from mangum import Mangum
from minimal import app

handler = Mangum(app, lifespan="off")
