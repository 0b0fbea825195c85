module federation.lab/tools/hooktool

go 1.26.0
