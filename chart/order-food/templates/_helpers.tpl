{{/* A file and a memory have one writer: one pod. */}}
{{- define "order-food.single" -}}
{{- if ne (include "orderfood.backend" .) "postgresql" -}}true{{- end -}}
{{- end -}}

{{/* The least number of pods that there will be. */}}
{{- define "order-food.replicas" -}}
{{- if include "order-food.single" . -}}
{{- if .Values.autoscaling.enabled -}}{{- fail "autoscaling needs Postgres: memory:// and sqlite:// have one pod" -}}{{- end -}}
1
{{- else if .Values.autoscaling.enabled -}}{{ .Values.autoscaling.minReplicas }}
{{- else -}}{{ .Values.replicaCount }}
{{- end -}}
{{- end -}}

{{/* preStop, then a drain of DRAIN_SECONDS, then as long again for what is in flight, and some more. */}}
{{- define "order-food.gracePeriod" -}}
{{- add .Values.preStopSeconds (mul 2 (ceil (float64 .Values.env.DRAIN_SECONDS))) 10 -}}
{{- end -}}

{{/* The metrics' own port; nothing where they have none. */}}
{{- define "order-food.metricsPort" -}}
{{- $port := toString (.Values.env.METRICS_PORT | default "") -}}
{{- if and (ne (toString .Values.env.ENABLE_METRICS) "false") (ne $port "8080") -}}{{ $port }}{{- end -}}
{{- end -}}

{{- define "order-food.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "orderfood.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}
