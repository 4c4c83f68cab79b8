"""A sandbox and a fleet for the tests of services that send jobs. See docs/enqueue.md, "Test your service".

``vtsync_testing`` is the pytest plugin; ``agent`` is the process that it starts.
"""
