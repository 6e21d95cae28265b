CREATE OR REPLACE VIEW extraction_accuracy WITH (security_invoker = true) AS
SELECT
    x.requirement_type,
    count(*) AS total_extractions,
    count(*) FILTER (WHERE x.is_confirmed) AS confirmed_extractions,
    count(*) FILTER (WHERE x.was_corrected) AS corrected_extractions,
    round(avg(x.extraction_confidence), 4) AS avg_confidence,
    round(100.0 * count(*) FILTER (WHERE x.is_confirmed) / count(*), 2) AS confirmation_rate_percent,
    round(100.0 * count(*) FILTER (WHERE x.was_corrected) / count(*), 2) AS correction_rate_percent
FROM requirement_extractions AS x
GROUP BY x.requirement_type;

COMMENT ON VIEW extraction_accuracy IS
    'How often each kind of requirement was read, confirmed and corrected, and how sure the reading was';
