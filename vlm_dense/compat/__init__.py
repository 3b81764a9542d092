"""The only room that knows about versions of the packages below this one."""
