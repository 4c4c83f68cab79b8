"""The pages of ``vtsync web``: server-rendered, without a build step, useful without a script."""
