from a2py.proxy.lean import aiohttp as aiohttp
