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

{{/* What no schema can say: ends the rendering with one line where values contradict each other. */}}
{{- define "order-food.checks" -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas" -}}
{{- end -}}
{{- if and .enabled (not (or .targetCPUUtilizationPercentage .targetMemoryUtilizationPercentage)) -}}
{{- fail "autoscaling needs targetCPUUtilizationPercentage or targetMemoryUtilizationPercentage" -}}
{{- end -}}
{{- end -}}
{{- with .Values.podDisruptionBudget -}}
{{- if and .minAvailable .maxUnavailable -}}
{{- fail "give podDisruptionBudget.minAvailable or podDisruptionBudget.maxUnavailable, not both" -}}
{{- end -}}
{{- $least := int (include "order-food.replicas" $) -}}
{{- if and .enabled .minAvailable (ne "true" (include "order-food.single" $)) (or (eq (toString .minAvailable) "100%") (and (not (kindIs "string" .minAvailable)) (ge (int .minAvailable) $least))) -}}
{{- fail (printf "podDisruptionBudget.minAvailable is %v of %d pods: no node could be drained" .minAvailable $least) -}}
{{- end -}}
{{- end -}}
{{- if .Values.ingress.enabled -}}
{{- $known := list -}}
{{- range prepend .Values.ingress.extraHosts .Values.ingress -}}
{{- $place := printf "%s%s" .host (.path | default "/") -}}
{{- if has $place $known -}}
{{- fail (printf "ingress: %s stands there twice" $place) -}}
{{- end -}}
{{- $known = append $known $place -}}
{{- end -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- fail "httpRoute needs parentRefs: the Gateway that it belongs to" -}}
{{- end -}}
{{- if and .Values.service.nodePort (eq .Values.service.type "ClusterIP") -}}
{{- fail "service.nodePort needs service.type NodePort or LoadBalancer" -}}
{{- end -}}
{{- if and (eq (include "orderfood.backend" .) "memory") (gt (int (toString (.Values.env.WORKERS | default 1))) 1) -}}
{{- fail "env.WORKERS is for Postgres and SQLite: memory:// has one process" -}}
{{- end -}}
{{- end -}}
