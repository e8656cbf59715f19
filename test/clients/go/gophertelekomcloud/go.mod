module opencbr.test/gophertelekomcloud

go 1.24

require github.com/opentelekomcloud/gophertelekomcloud v0.9.2

require gopkg.in/yaml.v2 v2.3.0 // indirect
