"""The spaces of the literature, one file per line of networks; importing this makes them known."""

from nascli.spaces.definitions import branches, cells, elite, mobile, residual, shuffle, staged

__all__ = ["branches", "cells", "elite", "mobile", "residual", "shuffle", "staged"]
