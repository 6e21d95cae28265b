"""invoices

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "invoices",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("customer_id", sa.String(length=100), nullable=False),
        sa.Column("build_id", sa.Uuid(), nullable=True),
        sa.Column("amount", sa.Numeric(precision=12, scale=2), nullable=False),
        sa.Column("issued_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["build_id"], ["build_queue.id"], name=op.f("fk_invoices_build_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.customer_id"], name=op.f("fk_invoices_customer_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
        schema="shop",
    )
    op.create_index(op.f("ix_invoices_build_id"), "invoices", ["build_id"], unique=False, schema="shop")
    op.create_index(op.f("ix_invoices_customer_id"), "invoices", ["customer_id"], unique=False, schema="shop")


def downgrade() -> None:
    op.drop_index(op.f("ix_invoices_customer_id"), table_name="invoices", schema="shop")
    op.drop_index(op.f("ix_invoices_build_id"), table_name="invoices", schema="shop")
    op.drop_table("invoices", schema="shop")
