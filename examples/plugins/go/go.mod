module plugins

go 1.21
