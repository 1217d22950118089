from a2py.proxy.aiohttp_server import aiohttp as aiohttp
