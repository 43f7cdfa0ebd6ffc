"""Other libraries' formats, one a file: networks read from them, and models written for other programs.

What a format needs beside NumPy is imported when it is used, and a message names what to install.
"""
